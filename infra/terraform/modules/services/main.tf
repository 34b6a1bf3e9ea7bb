# The APIs of the project that the other modules need. Destroying the installation leaves them on: others may use them.
resource "google_project_service" "enabled" {
  for_each = var.names

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}
