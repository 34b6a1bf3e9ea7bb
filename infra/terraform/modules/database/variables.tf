variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the instance."
  type        = string
}

variable "name" {
  description = "Name of the instance. The name of one that was deleted is taken for a week."
  type        = string
  default     = "inception-mlflow"
}

variable "network" {
  description = "Id of the network that reaches it."
  type        = string
}

variable "engine" {
  description = "Version of PostgreSQL."
  type        = string
  default     = "POSTGRES_15" # not newer than pg_dump in the image inception-mlflow, which makes the backups

  validation {
    condition     = can(regex("^POSTGRES_1[4-9]$", var.engine))
    error_message = "POSTGRES_14 or newer."
  }
}

variable "tier" {
  description = "Machine: db-f1-micro and db-g1-small share a processor, db-custom-CPUS-MEGABYTES have their own."
  type        = string

  validation {
    condition     = can(regex("^db-(f1-micro|g1-small|custom-[0-9]+-[0-9]+)$", var.tier))
    error_message = "db-f1-micro, db-g1-small or db-custom-CPUS-MEGABYTES."
  }
}

variable "disk_gigabytes" {
  description = "Size of the disk to begin with; it grows to ten times of it."
  type        = number
  default     = 10

  validation {
    condition     = var.disk_gigabytes >= 10
    error_message = "At least 10."
  }
}

variable "highly_available" {
  description = "Whether a second machine in another zone takes over, which costs as much again."
  type        = bool
}

variable "backups" {
  description = "How many daily backups are kept."
  type        = number
  default     = 14

  validation {
    condition     = var.backups >= 7 && var.backups <= 365
    error_message = "7 to 365."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform and Google Cloud refuse to delete the instance."
  type        = bool
  default     = true
}

variable "password" {
  description = "Password of the user mlflow. It is sent to Cloud SQL and kept in no state."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "password_version" {
  description = "The password is sent again when this changes."
  type        = number
}
