# Secrets by name. What Terraform makes up itself goes straight into them and into no state or plan; what it cannot know
# (tokens of others) is put in by hand: gcloud secrets versions add NAME --data-file=-
resource "google_secret_manager_secret" "this" {
  for_each = var.names

  project             = var.project
  secret_id           = each.value
  version_destroy_ttl = "${7 * 24 * 3600}s" # a version that was destroyed can be had back for a week

  replication {
    user_managed {
      replicas {
        location = var.location
      }
    }
  }
}

resource "google_secret_manager_secret_version" "this" {
  for_each = var.filled

  secret                 = google_secret_manager_secret.this[each.value].id
  secret_data_wo         = jsonencode(var.values[each.value])
  secret_data_wo_version = var.values_version
  deletion_policy        = "DISABLE"

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_iam_member" "readers" {
  for_each = var.names

  project   = var.project
  secret_id = google_secret_manager_secret.this[each.value].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = var.reader
}
