# To try things out: one zone, machines that may be taken away, a database of the smallest kind, and nothing that refuses to
# be deleted.
locals {
  environment = "dev"
  zone        = "${var.region}-a"
}

module "installation" {
  source = "../../modules/installation"

  project             = var.project
  environment         = local.environment
  region              = var.region
  cluster_location    = local.zone
  release_channel     = "REGULAR"
  authorized_networks = var.authorized_networks
  image_writers       = var.image_writers
  passwords_version   = var.passwords_version
  deletion_protection = false

  pools = {
    system = { machine = "e2-standard-4", minimum = 1, maximum = 2, spot = false }
    steps  = { machine = "e2-standard-4", minimum = 0, maximum = 2, spot = true }
    gpu = {
      machine = "g2-standard-4"
      minimum = 0
      maximum = 1
      spot    = true
      gpu     = { type = "nvidia-l4", count = 1 }
    }
  }

  database = {
    tier             = "db-g1-small"
    highly_available = false
    disk_gigabytes   = 10
  }
}
