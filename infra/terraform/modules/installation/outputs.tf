output "environment" {
  description = "What configs/environments says of this installation, by its keys there."
  value = {
    "images.registry"     = module.registry.address
    "server.namespace"    = local.namespace
    "store.mlflow"        = "http://mlflow.${local.namespace}.svc:5000"
    "store.ledgers"       = module.buckets.addresses["ledgers"]
    "store.state"         = "${module.buckets.addresses["work"]}/state"
    "store.pipeline_root" = "${module.buckets.addresses["work"]}/kfp"
    "run.service_account" = "inception-steps"
  }
}

output "overlay" {
  description = "What infra/kubernetes/overlays says of this installation, by the keys of inception-values."
  value = {
    environment         = var.environment
    project             = var.project
    google-accounts     = "${var.project}.iam.gserviceaccount.com"
    models              = "${module.buckets.addresses["models"]}/mlflow"
    ledgers             = module.buckets.addresses["ledgers"]
    backups             = module.buckets.addresses["backups"]
    pipeline-root       = "${module.buckets.addresses["work"]}/kfp"
    database-range      = var.ranges.database
    control-plane-range = var.control_plane_range
  }
}

output "commands" {
  description = "What comes next: to reach the cluster, and to fill the secrets that are empty."
  value = concat(
    ["gcloud container clusters get-credentials ${module.cluster.name} --location ${var.cluster_location} --project ${var.project} --dns-endpoint"],
    [for name in sort(module.secrets.to_fill) : "gcloud secrets versions add ${name} --project ${var.project} --data-file -"],
  )
}
