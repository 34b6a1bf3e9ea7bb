variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "location" {
  description = "The one region where values are kept."
  type        = string
}

variable "names" {
  description = "Names of the secrets, as Kubernetes knows them too."
  type        = set(string)
}

variable "filled" {
  description = "Those whose value Terraform makes."
  type        = set(string)

  validation {
    condition     = length(setsubtract(var.filled, var.names)) == 0
    error_message = "Only a secret that is named can be filled."
  }
}

variable "values" {
  description = "The values of those, each a table of Kubernetes keys. Kept in no state."
  type        = map(map(string))
  sensitive   = true
  ephemeral   = true
}

variable "values_version" {
  description = "The values are written again when this changes."
  type        = number
}

variable "reader" {
  description = "Who brings the values into Kubernetes, as IAM writes it."
  type        = string
}
