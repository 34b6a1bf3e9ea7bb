output "emails" {
  description = "Google accounts, by their names."
  value       = { for name, account in google_service_account.workloads : name => account.email }
}

output "members" {
  description = "The same as IAM writes them."
  value       = { for name, account in google_service_account.workloads : name => account.member }
}
