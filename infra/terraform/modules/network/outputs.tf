output "network" {
  description = "Id of the network. Known only when the peering with Cloud SQL's network stands."
  value       = google_compute_network.this.id
  depends_on  = [google_service_networking_connection.database]
}

output "subnetwork" {
  description = "Id of the nodes' subnetwork."
  value       = google_compute_subnetwork.nodes.id
}
