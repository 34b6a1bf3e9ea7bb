# What makes no sense is refused before anything is asked of Google Cloud.
mock_provider "google" {}

variables {
  project             = "example-dev"
  environment         = "dev"
  region              = "europe-west4"
  cluster_location    = "europe-west4-a"
  release_channel     = "REGULAR"
  deletion_protection = false
  database            = { tier = "db-g1-small", highly_available = false, disk_gigabytes = 10 }
  pools = {
    system = { machine = "e2-standard-4", minimum = 1, maximum = 2, spot = false }
    gpu    = { machine = "g2-standard-4", minimum = 0, maximum = 1, spot = true, gpu = { type = "nvidia-l4", count = 1 } }
  }
}

run "accepts_what_is_right" {
  command = plan
}

run "refuses_a_project_that_is_no_id" {
  command = plan

  variables {
    project = "My Project"
  }

  expect_failures = [var.project]
}

run "refuses_a_zone_as_region" {
  command = plan

  variables {
    region = "europe-west4-a"
  }

  expect_failures = [var.region]
}

run "refuses_a_cluster_in_another_region" {
  command = plan

  variables {
    cluster_location = "us-central1-a"
  }

  expect_failures = [var.cluster_location]
}

run "refuses_a_gpu_pool_without_a_gpu" {
  command = plan

  variables {
    pools = {
      system = { machine = "e2-standard-4", minimum = 1, maximum = 2, spot = false }
      gpu    = { machine = "e2-standard-4", minimum = 0, maximum = 1, spot = true }
    }
  }

  expect_failures = [var.pools]
}

run "refuses_half_a_version" {
  command = plan

  variables {
    passwords_version = 1.5
  }

  expect_failures = [var.passwords_version]
}
