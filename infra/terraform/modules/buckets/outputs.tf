output "addresses" {
  description = "gs:// addresses, by the end of the buckets' names."
  value       = { for key, bucket in google_storage_bucket.this : key => "gs://${bucket.name}" }
}
