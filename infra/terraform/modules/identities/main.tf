# Google accounts of the same names as the Kubernetes accounts that act as them. No account has a key.
resource "google_service_account" "workloads" {
  for_each = var.workloads

  project      = var.project
  account_id   = each.key
  display_name = each.value
}

resource "google_service_account_iam_member" "workloads" {
  for_each = var.workloads

  service_account_id = google_service_account.workloads[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.workload_pool}[${var.namespace}/${each.key}]"
}
