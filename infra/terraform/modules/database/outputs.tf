output "address" {
  description = "Private address of the instance."
  value       = google_sql_database_instance.this.private_ip_address
}

output "connection_name" {
  description = "What Google's proxy calls it."
  value       = google_sql_database_instance.this.connection_name
}
