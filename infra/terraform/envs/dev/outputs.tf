output "environment" {
  description = "What configs/environments says of this installation, by its keys there."
  value       = module.installation.environment
}

output "overlay" {
  description = "What infra/kubernetes/overlays says of this installation, by the keys of inception-values."
  value       = module.installation.overlay
}

output "commands" {
  description = "What comes next."
  value       = module.installation.commands
}
