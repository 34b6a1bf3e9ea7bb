variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "location" {
  description = "Region of the repository: the cluster's."
  type        = string
}

variable "name" {
  description = "Name of the repository."
  type        = string
  default     = "inception"
}

variable "untagged_days" {
  description = "Images that no tag names are deleted after so many days."
  type        = number
  default     = 30

  validation {
    condition     = var.untagged_days >= 1
    error_message = "At least one day."
  }
}

variable "keep_recent" {
  description = "So many versions of every image are kept, with a tag or without."
  type        = number
  default     = 10

  validation {
    condition     = var.keep_recent >= 1 && floor(var.keep_recent) == var.keep_recent
    error_message = "A whole number, at least one."
  }
}

variable "scanned" {
  description = "Whether images are scanned for known vulnerabilities when they are pushed, which costs by image, if the project has that API on."
  type        = bool
  default     = true
}

variable "readers" {
  description = "Who pulls, by any key: the nodes."
  type        = map(string)
}

variable "writers" {
  description = "Who pushes, by any key."
  type        = map(string)
  default     = {}
}
