# One installation of a team: everything that pipeline, MLflow and schedules need of a Google Cloud project.
locals {
  namespace = "inception"

  services = [
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "containerfilesystem.googleapis.com", # images that start while they are being read
    "container.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "secretmanager.googleapis.com",
    "servicenetworking.googleapis.com",
    "sqladmin.googleapis.com",
    "storage.googleapis.com",
  ]

  # Kubernetes accounts that are known to Google by what the cluster says of them, without an account of their own.
  principals = "principal://iam.googleapis.com/projects/${data.google_project.this.number}/locations/global/workloadIdentityPools/${module.cluster.workload_pool}/subject"
}

data "google_project" "this" {
  depends_on = [module.services] # a new project cannot be asked for its number before

  project_id = var.project
}

module "services" {
  source = "../services"

  project = var.project
  names   = local.services
}

module "network" {
  source     = "../network"
  depends_on = [module.services]

  project = var.project
  region  = var.region
  ranges  = var.ranges
}

module "cluster" {
  source     = "../cluster"
  depends_on = [module.services]

  project             = var.project
  location            = var.cluster_location
  network             = module.network.network
  subnetwork          = module.network.subnetwork
  control_plane_range = var.control_plane_range
  authorized_networks = var.authorized_networks
  release_channel     = var.release_channel
  deletion_protection = var.deletion_protection
  pools               = var.pools
}

module "identities" {
  source     = "../identities"
  depends_on = [module.services]

  project       = var.project
  namespace     = local.namespace
  workload_pool = module.cluster.workload_pool
  workloads = {
    inception-steps  = "Steps of the retraining pipeline"
    inception-mlflow = "MLflow server, its migrations and backups"
    inception-deploy = "Whoever applies the schedules"
  }
}

module "buckets" {
  source     = "../buckets"
  depends_on = [module.services]

  project  = var.project
  location = var.region
  prefix   = "${var.project}-inception"
  buckets = {
    # Sources and weights: what models are made of.
    data = { versioned = true, soft_delete_days = 30, delete_old_versions_after_days = 90 }
    # What runs leave, and what can be made again.
    work = { versioned = false, soft_delete_days = 7, delete_after_days = 90 }
    # Models and everything else that was logged.
    models = { versioned = true, soft_delete_days = 90, delete_old_versions_after_days = 90 }
    # Who was champion when. A ledger is overwritten at every promotion, so no retention policy may forbid that: every
    # version stays instead, for ever.
    ledgers = { versioned = true, soft_delete_days = 90 }
    # What MLflow is put back from when all else is lost: nobody who runs something here can change or delete one.
    backups = { versioned = true, soft_delete_days = 30, delete_after_days = 180, delete_old_versions_after_days = 30 }
  }
  grants = {
    steps-read-data      = { bucket = "data", role = "roles/storage.objectViewer", member = module.identities.members["inception-steps"] }
    steps-use-work       = { bucket = "work", role = "roles/storage.objectUser", member = module.identities.members["inception-steps"] }
    steps-use-ledgers    = { bucket = "ledgers", role = "roles/storage.objectUser", member = module.identities.members["inception-steps"] }
    mlflow-uses-models   = { bucket = "models", role = "roles/storage.objectUser", member = module.identities.members["inception-mlflow"] }
    mlflow-reads-ledgers = { bucket = "ledgers", role = "roles/storage.objectViewer", member = module.identities.members["inception-mlflow"] }
    mlflow-adds-backups  = { bucket = "backups", role = "roles/storage.objectCreator", member = module.identities.members["inception-mlflow"] }
    mlflow-reads-backups = { bucket = "backups", role = "roles/storage.objectViewer", member = module.identities.members["inception-mlflow"] }
    pages-read-work      = { bucket = "work", role = "roles/storage.objectViewer", member = "${local.principals}/ns/kubeflow/sa/ml-pipeline-ui" }
  }
}

module "registry" {
  source     = "../registry"
  depends_on = [module.services]

  project  = var.project
  location = var.region
  readers  = { nodes = module.cluster.nodes_member }
  writers  = var.image_writers
}

# Letters and digits alone: a password is part of an address.
ephemeral "random_password" "database" {
  length  = 32
  special = false
}

ephemeral "random_password" "admin" {
  length  = 32
  special = false
}

ephemeral "random_password" "client" {
  length  = 32
  special = false
}

ephemeral "random_password" "sessions" {
  length  = 32
  special = false
}

module "database" {
  source     = "../database"
  depends_on = [module.services]

  project             = var.project
  region              = var.region
  network             = module.network.network
  tier                = var.database.tier
  highly_available    = var.database.highly_available
  disk_gigabytes      = var.database.disk_gigabytes
  deletion_protection = var.deletion_protection
  password            = ephemeral.random_password.database.result
  password_version    = var.passwords_version
}

module "secrets" {
  source     = "../secrets"
  depends_on = [module.services]

  project        = var.project
  location       = var.region
  names          = ["mlflow-database", "mlflow-admin", "mlflow-flask", "inception-mlflow-client", "inception-notifications"]
  filled         = ["mlflow-database", "mlflow-admin", "mlflow-flask", "inception-mlflow-client"]
  values_version = var.passwords_version
  reader         = "${local.principals}/ns/${var.secret_reader.namespace}/sa/${var.secret_reader.account}"
  values = {
    mlflow-database = {
      uri = "postgresql+psycopg2://mlflow:${ephemeral.random_password.database.result}@${module.database.address}:5432/mlflow?sslmode=require"
    }
    mlflow-admin = {
      username = "admin"
      password = ephemeral.random_password.admin.result
    }
    mlflow-flask = {
      secret-key = ephemeral.random_password.sessions.result
    }
    inception-mlflow-client = {
      username = "inception"
      password = ephemeral.random_password.client.result
    }
  }
}
