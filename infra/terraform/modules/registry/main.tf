# Container images. A tag that was pushed stays what it was, and an image with a tag is never cleaned up: a run of last year
# names its image by digest.
resource "google_artifact_registry_repository" "this" {
  project                = var.project
  location               = var.location
  repository_id          = var.name
  description            = "Images of the retraining pipeline's steps and of its MLflow server."
  format                 = "DOCKER"
  cleanup_policy_dry_run = false

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "delete-untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "${var.untagged_days * 24 * 3600}s"
    }
  }

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = var.keep_recent
    }
  }

  vulnerability_scanning_config {
    enablement_config = var.scanned ? "INHERITED" : "DISABLED"
  }
}

resource "google_artifact_registry_repository_iam_member" "readers" {
  for_each = var.readers

  project    = var.project
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.reader"
  member     = each.value
}

resource "google_artifact_registry_repository_iam_member" "writers" {
  for_each = var.writers

  project    = var.project
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = each.value
}
