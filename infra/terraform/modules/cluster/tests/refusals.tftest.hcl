mock_provider "google" {}

variables {
  project             = "example-dev"
  location            = "europe-west4-a"
  network             = "network"
  subnetwork          = "subnetwork"
  control_plane_range = "172.16.0.0/28"
  pools = {
    system = { machine = "e2-standard-4", minimum = 1, maximum = 2, spot = false }
    gpu    = { machine = "g2-standard-4", minimum = 0, maximum = 1, spot = true, gpu = { type = "nvidia-l4", count = 1 } }
  }
}

run "accepts_what_is_right" {
  command = plan
}

run "refuses_a_gpu_that_waits" {
  command = plan

  variables {
    pools = {
      system = { machine = "e2-standard-4", minimum = 1, maximum = 2, spot = false }
      gpu    = { machine = "g2-standard-4", minimum = 1, maximum = 1, spot = true, gpu = { type = "nvidia-l4", count = 1 } }
    }
  }

  expect_failures = [var.pools]
}

run "refuses_a_cluster_whose_every_node_may_vanish" {
  command = plan

  variables {
    pools = {
      system = { machine = "e2-standard-4", minimum = 1, maximum = 2, spot = true }
    }
  }

  expect_failures = [var.pools]
}

run "refuses_a_maximum_below_the_minimum" {
  command = plan

  variables {
    pools = {
      system = { machine = "e2-standard-4", minimum = 3, maximum = 2, spot = false }
    }
  }

  expect_failures = [var.pools]
}

run "refuses_the_world_as_authorized" {
  command = plan

  variables {
    authorized_networks = { all = "0.0.0.0/0" }
  }

  expect_failures = [var.authorized_networks]
}

run "refuses_a_control_plane_in_a_large_range" {
  command = plan

  variables {
    control_plane_range = "172.16.0.0/24"
  }

  expect_failures = [var.control_plane_range]
}
