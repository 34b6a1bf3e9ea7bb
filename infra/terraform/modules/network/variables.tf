variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the subnetwork."
  type        = string
}

variable "name" {
  description = "Name of the network, and beginning of the names of what is in it."
  type        = string
  default     = "inception"
}

variable "ranges" {
  description = "Private addresses of nodes, pods, Kubernetes services and Cloud SQL. They must not overlap."
  type = object({
    nodes    = string
    pods     = string
    services = string
    database = string
  })

  validation {
    condition     = alltrue([for range in values(var.ranges) : can(cidrhost(range, 0))])
    error_message = "Every range is written as ADDRESS/LENGTH, such as 10.10.0.0/20."
  }
  validation {
    condition     = length(distinct(values(var.ranges))) == 4
    error_message = "Two of the ranges are the same."
  }
}

variable "flow_sampling" {
  description = "Share of the flows between nodes that is logged, 0 to 1."
  type        = number
  default     = 0.1

  validation {
    condition     = var.flow_sampling >= 0 && var.flow_sampling <= 1
    error_message = "A share is a number from 0 to 1."
  }
}
