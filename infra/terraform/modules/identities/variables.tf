variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "namespace" {
  description = "Kubernetes namespace of the accounts."
  type        = string
}

variable "workload_pool" {
  description = "Pool of the cluster's identities. It exists once the cluster does."
  type        = string
}

variable "workloads" {
  description = "What each account is for, by its name in Kubernetes and in Google Cloud."
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.workloads) : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", name))])
    error_message = "6 to 30 small letters, digits and hyphens."
  }
}
