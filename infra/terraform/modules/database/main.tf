# PostgreSQL for MLflow: no public address, TLS or nothing, backups and a log that any second of the last days can be restored from.
resource "google_sql_database_instance" "this" {
  project             = var.project
  name                = var.name
  region              = var.region
  database_version    = var.engine
  deletion_protection = var.deletion_protection

  settings {
    tier                        = var.tier
    edition                     = "ENTERPRISE"
    availability_type           = var.highly_available ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = var.disk_gigabytes
    disk_autoresize             = true
    disk_autoresize_limit       = var.disk_gigabytes * 10
    deletion_protection_enabled = var.deletion_protection

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      start_time                     = "01:00"
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = var.backups
        retention_unit   = "COUNT"
      }
    }

    maintenance_window {
      day          = 6
      hour         = 6
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
    }

    dynamic "database_flags" {
      for_each = {
        log_checkpoints            = "on"
        log_connections            = "on"
        log_disconnections         = "on"
        log_lock_waits             = "on"
        log_temp_files             = "0"
        log_min_duration_statement = "5000"
      }

      content {
        name  = database_flags.key
        value = database_flags.value
      }
    }
  }
}

resource "google_sql_database" "mlflow" {
  project  = var.project
  instance = google_sql_database_instance.this.name
  name     = "mlflow"
}

resource "google_sql_user" "mlflow" {
  project             = var.project
  instance            = google_sql_database_instance.this.name
  name                = "mlflow"
  password_wo         = var.password
  password_wo_version = var.password_version
  deletion_policy     = "ABANDON" # it owns tables, so PostgreSQL would not let it go before them
}
