output "address" {
  description = "What an image's name begins with."
  value       = "${google_artifact_registry_repository.this.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.this.repository_id}"
}
