# terraform test: nothing is made, the provider is mocked.
mock_provider "google" {}

variables {
  project       = "example-dev"
  image_writers = { release = "serviceAccount:release@example-dev.iam.gserviceaccount.com" }
}

run "plan" {
  command = plan
}

run "apply" {
  command = apply

  assert {
    condition     = output.overlay.models == "gs://example-dev-inception-models/mlflow"
    error_message = "The overlay is given another bucket of models."
  }

  assert {
    condition     = output.environment["images.registry"] == "europe-west4-docker.pkg.dev/example-dev/inception"
    error_message = "The environment is given another registry."
  }
}
