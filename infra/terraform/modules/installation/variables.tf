variable "project" {
  description = "The Google Cloud project. Everything in it that bears the name inception belongs to the installation."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id has 6 to 30 small letters, digits and hyphens, a letter first."
  }
}

variable "environment" {
  description = "Name of the environment: that of its files in configs/environments and infra/kubernetes/overlays."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "Small letters, digits and hyphens."
  }
}

variable "region" {
  description = "Region of buckets, images, database and secrets, and of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region such as europe-west4."
  }
}

variable "cluster_location" {
  description = "The region, or one zone of it."
  type        = string

  validation {
    condition     = startswith(var.cluster_location, var.region)
    error_message = "The cluster is in the region, or in a zone of it."
  }
}

variable "ranges" {
  description = "Private addresses of nodes, pods, Kubernetes services and Cloud SQL."
  type = object({
    nodes    = string
    pods     = string
    services = string
    database = string
  })
  default = {
    nodes    = "10.10.0.0/20"
    pods     = "10.20.0.0/16"
    services = "10.40.0.0/20"
    database = "10.30.0.0/20"
  }
}

variable "control_plane_range" {
  description = "Private addresses of the cluster's control plane."
  type        = string
  default     = "172.16.0.0/28"
}

variable "authorized_networks" {
  description = "Networks that may reach the control plane by its address, by any name."
  type        = map(string)
  default     = {}
}

variable "release_channel" {
  description = "How soon new versions of Kubernetes come."
  type        = string
}

variable "pools" {
  description = "Node pools, as the module cluster takes them. One is called gpu."
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
    condition     = try(var.pools["gpu"].gpu, null) != null
    error_message = "The pool gpu has no GPU."
  }
}

variable "database" {
  description = "Machine and disk of PostgreSQL, and whether a second one takes over."
  type = object({
    tier             = string
    highly_available = bool
    disk_gigabytes   = number
  })
}

variable "image_writers" {
  description = "Who may push images, as IAM writes it, by any key."
  type        = map(string)
  default     = {}
}

variable "secret_reader" {
  description = "The Kubernetes account of External Secrets, which brings secrets into the cluster."
  type = object({
    namespace = string
    account   = string
  })
  default = {
    namespace = "external-secrets"
    account   = "external-secrets"
  }
}

variable "passwords_version" {
  description = "New passwords are made when this changes."
  type        = number
  default     = 1

  validation {
    condition     = var.passwords_version >= 1 && floor(var.passwords_version) == var.passwords_version
    error_message = "A whole number, at least 1."
  }
}

variable "deletion_protection" {
  description = "Whether cluster and database refuse to be deleted."
  type        = bool
}
