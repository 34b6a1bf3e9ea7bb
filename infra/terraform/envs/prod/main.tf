# A control plane and system nodes in three zones, a database that is taken over from another zone, and deletion only after
# `deletion_protection` was set to false and applied.
locals {
  environment = "prod"
}

module "installation" {
  source = "../../modules/installation"

  project             = var.project
  environment         = local.environment
  region              = var.region
  cluster_location    = var.region
  release_channel     = "STABLE"
  authorized_networks = var.authorized_networks
  image_writers       = var.image_writers
  passwords_version   = var.passwords_version
  deletion_protection = true

  pools = {
    system = { machine = "e2-standard-4", minimum = 2, maximum = 6, spot = false }
    # The disks hold a step's state folder: [state] size of configs/environments/prod.toml, beside what GKE keeps for itself.
    steps = { machine = "e2-standard-8", minimum = 0, maximum = 4, spot = false, disk_gigabytes = 400 }
    # Training goes on from its last checkpoint, so its machine may be taken away. Not every zone has every GPU.
    gpu = {
      machine        = "g2-standard-12"
      zones          = ["${var.region}-a", "${var.region}-b"]
      minimum        = 0
      maximum        = 4
      spot           = true
      disk_gigabytes = 400
      gpu            = { type = "nvidia-l4", count = 1 }
    }
  }

  database = {
    tier             = "db-custom-1-3840"
    highly_available = true
    disk_gigabytes   = 20
  }
}
