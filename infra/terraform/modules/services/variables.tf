variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "names" {
  description = "APIs, such as container.googleapis.com."
  type        = set(string)

  validation {
    condition     = alltrue([for name in var.names : endswith(name, ".googleapis.com")])
    error_message = "An API's name ends in .googleapis.com."
  }
}
