locals {
  workload_pool = "${var.project}.svc.id.goog"
}

# What the machines themselves are: they write logs and metrics and pull images, no more.
resource "google_service_account" "nodes" {
  project      = var.project
  account_id   = "${var.name}-nodes"
  display_name = "Nodes of the cluster ${var.name}"
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

# A private cluster. Its API is reached by its DNS name by whoever IAM lets in, by its address only from the networks named.
resource "google_container_cluster" "this" {
  project             = var.project
  name                = var.name
  location            = var.location
  network             = var.network
  subnetwork          = var.subnetwork
  networking_mode     = "VPC_NATIVE"
  datapath_provider   = "ADVANCED_DATAPATH" # it enforces network policies
  deletion_protection = var.deletion_protection

  enable_shielded_nodes    = true
  remove_default_node_pool = true
  initial_node_count       = 1

  # The pool that is made with the cluster and removed at once.
  node_config {
    service_account = google_service_account.nodes.email

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  release_channel {
    channel = var.release_channel
  }

  workload_identity_config {
    workload_pool = local.workload_pool
  }

  ip_allocation_policy {
    cluster_secondary_range_name  = var.pods_range_name
    services_secondary_range_name = var.services_range_name
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.authorized_networks) == 0
    master_ipv4_cidr_block  = var.control_plane_range
  }

  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled = false

    dynamic "cidr_blocks" {
      for_each = var.authorized_networks

      content {
        display_name = cidr_blocks.key
        cidr_block   = cidr_blocks.value
      }
    }
  }

  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  addons_config {
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }
    gcp_filestore_csi_driver_config {
      enabled = var.filestore
    }
    gcs_fuse_csi_driver_config {
      enabled = true
    }
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }

  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS"]

    managed_prometheus {
      enabled = true
    }
  }

  cost_management_config {
    enabled = true
  }

  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }

  maintenance_policy {
    recurring_window {
      start_time = var.maintenance.start
      end_time   = var.maintenance.end
      recurrence = var.maintenance.recurrence
    }
  }

  lifecycle {
    ignore_changes = [node_config, initial_node_count]
  }

  depends_on = [google_project_iam_member.nodes]
}

resource "google_container_node_pool" "this" {
  for_each = var.pools

  project            = var.project
  name               = each.key
  cluster            = google_container_cluster.this.id
  node_locations     = each.value.zones
  initial_node_count = each.value.minimum == 0 ? 0 : 1

  autoscaling {
    total_min_node_count = each.value.minimum
    total_max_node_count = each.value.maximum
    location_policy      = each.value.spot ? "ANY" : "BALANCED"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  network_config {
    enable_private_nodes = true
  }

  node_config {
    machine_type    = each.value.machine
    spot            = each.value.spot
    disk_type       = "pd-balanced"
    disk_size_gb    = each.value.disk_gigabytes
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"] # what IAM allows, and nothing else, is the limit
    metadata        = { disable-legacy-endpoints = "true" }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    # Large images start while they are still being read.
    gcfs_config {
      enabled = true
    }

    dynamic "guest_accelerator" {
      for_each = each.value.gpu[*]

      content {
        type  = guest_accelerator.value.type
        count = guest_accelerator.value.count

        gpu_driver_installation_config {
          gpu_driver_version = "DEFAULT"
        }
      }
    }

    # Only what asks for a GPU may keep such a machine alive.
    dynamic "taint" {
      for_each = each.value.gpu[*]

      content {
        key    = "nvidia.com/gpu"
        value  = "present"
        effect = "NO_SCHEDULE"
      }
    }
  }

  lifecycle {
    ignore_changes = [initial_node_count]
  }
}
