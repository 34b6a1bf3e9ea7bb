output "name" {
  description = "Name of the cluster."
  value       = google_container_cluster.this.name
}

output "workload_pool" {
  description = "Pool of the cluster's identities. Known only when the cluster stands."
  value       = local.workload_pool
  depends_on  = [google_container_cluster.this]
}

output "nodes_member" {
  description = "The nodes' account, as IAM writes it."
  value       = google_service_account.nodes.member
}
