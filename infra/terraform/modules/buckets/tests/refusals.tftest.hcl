mock_provider "google" {}

variables {
  project  = "example-dev"
  location = "europe-west4"
  prefix   = "example-dev-inception"
  buckets  = { ledgers = { versioned = true, soft_delete_days = 90 } }
  grants = {
    steps = { bucket = "ledgers", role = "roles/storage.objectUser", member = "serviceAccount:steps@example.com" }
  }
}

run "accepts_what_is_right" {
  command = plan
}

run "refuses_a_public_bucket" {
  command = plan

  variables {
    grants = { all = { bucket = "ledgers", role = "roles/storage.objectViewer", member = "allUsers" } }
  }

  expect_failures = [var.grants]
}

run "refuses_more_than_reading_and_writing" {
  command = plan

  variables {
    grants = { steps = { bucket = "ledgers", role = "roles/storage.admin", member = "serviceAccount:steps@example.com" } }
  }

  expect_failures = [var.grants]
}

run "refuses_a_grant_on_no_bucket_of_ours" {
  command = plan

  variables {
    grants = { steps = { bucket = "other", role = "roles/storage.objectUser", member = "serviceAccount:steps@example.com" } }
  }

  expect_failures = [var.grants]
}

run "refuses_to_forget_what_was_deleted_at_once" {
  command = plan

  variables {
    buckets = { ledgers = { versioned = true, soft_delete_days = 0 } }
  }

  expect_failures = [var.buckets]
}
