variable "project" {
  description = "The Google Cloud project of this environment."
  type        = string
}

variable "region" {
  description = "Region of everything."
  type        = string
  default     = "europe-west4"
}

variable "authorized_networks" {
  description = "Networks that may reach the cluster's API by its address, by any name. Empty: only its DNS name, by whom IAM lets in."
  type        = map(string)
  default     = {}
}

variable "image_writers" {
  description = "Who may push images, as IAM writes it (serviceAccount:…, principalSet://…), by any key."
  type        = map(string)
  default     = {}
}

variable "passwords_version" {
  description = "Raise it to have new passwords made."
  type        = number
  default     = 1
}
