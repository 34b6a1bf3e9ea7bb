terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "6.50.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "3.7.2"
    }
  }

  # The bucket is named when it is initialised: terraform init -backend-config="bucket=PROJECT-terraform"
  backend "gcs" {
    prefix = "inception"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = {
    application = "inception"
    environment = local.environment
  }
}
