variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "name" {
  description = "Name of the cluster, and beginning of its nodes' account."
  type        = string
  default     = "inception"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}[a-z0-9]$", var.name))
    error_message = "4 to 22 small letters, digits and hyphens, a letter first."
  }
}

variable "location" {
  description = "A zone (one control plane, in the free tier) or a region (three)."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+(-[a-z])?$", var.location))
    error_message = "A region such as europe-west4, or a zone such as europe-west4-a."
  }
}

variable "network" {
  description = "Id of the network."
  type        = string
}

variable "subnetwork" {
  description = "Id of the nodes' subnetwork."
  type        = string
}

variable "pods_range_name" {
  description = "Name of the subnetwork's range for pods."
  type        = string
  default     = "pods"
}

variable "services_range_name" {
  description = "Name of the subnetwork's range for Kubernetes services."
  type        = string
  default     = "services"
}

variable "control_plane_range" {
  description = "Private addresses of the control plane."
  type        = string

  validation {
    condition     = can(cidrhost(var.control_plane_range, 0)) && endswith(var.control_plane_range, "/28")
    error_message = "A range of 16 addresses, such as 172.16.0.0/28."
  }
}

variable "authorized_networks" {
  description = "Networks that may reach the control plane by its address, by any name. Empty: it has no public address, and is reached by its DNS name."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for range in values(var.authorized_networks) : can(cidrhost(range, 0))])
    error_message = "Every network is written as ADDRESS/LENGTH."
  }
  validation {
    condition     = alltrue([for range in values(var.authorized_networks) : tonumber(split("/", range)[1]) >= 16])
    error_message = "A network larger than /16 is as good as the whole world."
  }
}

variable "release_channel" {
  description = "How soon new versions of Kubernetes come."
  type        = string
  default     = "REGULAR"

  validation {
    condition     = contains(["STABLE", "REGULAR", "RAPID", "EXTENDED"], var.release_channel)
    error_message = "STABLE, REGULAR, RAPID or EXTENDED."
  }
}

variable "maintenance" {
  description = "When nodes and control plane may be upgraded: the first window in UTC, and how it recurs (RFC 5545)."
  type = object({
    start      = string
    end        = string
    recurrence = string
  })
  default = {
    start      = "2026-01-03T06:00:00Z"
    end        = "2026-01-03T18:00:00Z"
    recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
  }

  validation {
    condition     = can(formatdate("YYYY", var.maintenance.start)) && can(formatdate("YYYY", var.maintenance.end))
    error_message = "Times are written as in RFC 3339: 2026-01-03T06:00:00Z."
  }
}

variable "filestore" {
  description = "Whether volumes that many nodes write to can be asked for (Filestore)."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the cluster."
  type        = bool
  default     = true
}

variable "pools" {
  description = "Node pools by name: machine, zones (null: those of the location), how many nodes in all zones together, whether they may be taken away at any time (spot), and GPUs of each."
  type = map(object({
    machine        = string
    zones          = optional(set(string))
    minimum        = number
    maximum        = number
    spot           = bool
    disk_gigabytes = optional(number, 100)
    gpu = optional(object({
      type  = string
      count = number
    }))
  }))

  validation {
    condition     = alltrue([for pool in var.pools : pool.minimum >= 0 && pool.maximum >= max(pool.minimum, 1)])
    error_message = "The minimum is 0 or more, the maximum is not below it, and at least 1."
  }
  validation {
    condition     = alltrue([for pool in var.pools : pool.gpu == null || pool.minimum == 0])
    error_message = "A pool with GPUs begins at 0 nodes: nobody pays for a GPU that waits."
  }
  validation {
    condition     = anytrue([for pool in var.pools : pool.gpu == null && pool.minimum > 0 && !pool.spot])
    error_message = "One pool without GPUs has a node at all times that is not taken away: the cluster's own pods need it."
  }
}
