variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "location" {
  description = "Region of the buckets: the cluster's, so that reading costs no traffic between regions."
  type        = string
}

variable "prefix" {
  description = "Beginning of every bucket's name. Names of buckets are unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,50}[a-z0-9]$", var.prefix))
    error_message = "Small letters, digits and hyphens, at most 52 of them."
  }
}

variable "buckets" {
  description = "By the end of their names: whether old versions are kept, how long what was deleted can be restored, and what is deleted by itself after how many days (null: nothing)."
  type = map(object({
    versioned                      = bool
    soft_delete_days               = number
    delete_after_days              = optional(number)
    delete_old_versions_after_days = optional(number)
  }))

  validation {
    condition     = alltrue([for one in var.buckets : one.soft_delete_days >= 7 && one.soft_delete_days <= 90])
    error_message = "Google Cloud Storage restores for 7 to 90 days."
  }
  validation {
    condition     = alltrue([for one in var.buckets : one.versioned || one.delete_old_versions_after_days == null])
    error_message = "A bucket without versions has no old ones to delete."
  }
}

variable "grants" {
  description = "Who may do what with a bucket's objects. The keys only tell them apart."
  type = map(object({
    bucket = string
    role   = string
    member = string
  }))

  validation {
    condition     = alltrue([for one in var.grants : contains(keys(var.buckets), one.bucket)])
    error_message = "A grant names one of the buckets."
  }
  validation {
    condition = alltrue([
      for one in var.grants : contains([
        "roles/storage.objectViewer", "roles/storage.objectCreator", "roles/storage.objectUser"
      ], one.role)
    ])
    error_message = "Reading (roles/storage.objectViewer), adding (roles/storage.objectCreator) and writing (roles/storage.objectUser) are enough."
  }
  validation {
    condition     = alltrue([for one in var.grants : !contains(["allUsers", "allAuthenticatedUsers"], one.member)])
    error_message = "No bucket is public."
  }
}
