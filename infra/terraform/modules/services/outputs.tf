output "enabled" {
  description = "The APIs that are on."
  value       = toset([for service in google_project_service.enabled : service.service])
}
