# Buckets that nobody can open to the world by mistake, and who may do what with the objects of each.
resource "google_storage_bucket" "this" {
  for_each = var.buckets

  project                     = var.project
  name                        = "${var.prefix}-${each.key}"
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = each.value.versioned
  }

  # What was deleted or overwritten can be restored for so long, whoever did it.
  soft_delete_policy {
    retention_duration_seconds = each.value.soft_delete_days * 24 * 3600
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  dynamic "lifecycle_rule" {
    for_each = each.value.delete_after_days[*]

    content {
      action {
        type = "Delete"
      }
      # Where old versions are kept, it becomes one of them, with days of its own; else it is gone.
      condition {
        age        = lifecycle_rule.value
        with_state = "LIVE"
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = each.value.delete_old_versions_after_days[*]

    content {
      action {
        type = "Delete"
      }
      condition {
        days_since_noncurrent_time = lifecycle_rule.value
        with_state                 = "ARCHIVED"
      }
    }
  }
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = var.grants

  bucket = google_storage_bucket.this[each.value.bucket].name
  role   = each.value.role
  member = each.value.member
}
