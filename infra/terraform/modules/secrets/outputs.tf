output "to_fill" {
  description = "The secrets that are empty until somebody adds a version by hand."
  value       = setsubtract(var.names, var.filled)
}
