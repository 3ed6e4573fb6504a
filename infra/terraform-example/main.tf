# A private container with a trigger of each kind, through the stock provider.
# .local/env, which `make run` writes, gives the provider its keys and each variable
# its value. For a deployment, give the variables yours.

terraform {
  required_version = ">= 1.5"
  required_providers {
    scaleway = {
      source = "scaleway/scaleway"
    }
  }
}

# The keys and the project come from SCW_ACCESS_KEY, SCW_SECRET_KEY and
# SCW_DEFAULT_PROJECT_ID.
provider "scaleway" {
  api_url = var.api_url
  region  = var.region
}

resource "scaleway_container_namespace" "example" {
  name        = "example"
  description = "What the triggers below call"
  tags        = ["example"]
}

# The service runs no container: image is the URL where it runs already.
resource "scaleway_container" "jobs" {
  namespace_id = scaleway_container_namespace.example.id
  name         = "jobs"
  image        = var.container_url
  timeout      = 60

  # A private container receives INVOKE_TOKEN as X-Auth-Token.
  privacy = "private"
  secret_environment_variables = {
    INVOKE_TOKEN = var.invoke_token
  }
}

# The provider does not read a trigger's container_id back. After `terraform import`,
# a plan would therefore replace the trigger. This keeps it:
#
#   lifecycle {
#     ignore_changes = [container_id]
#   }

resource "scaleway_container_trigger" "report" {
  container_id = scaleway_container.jobs.id
  name         = "report"
  description  = "Weekdays at eight, Paris time"

  destination_config {
    http_path   = "/report?kind=short"
    http_method = "post"
  }
  cron {
    schedule = "0 8 * * 1-5"
    timezone = "Europe/Paris"
    body     = jsonencode({ report = "short" })
    headers  = { "X-Kind" = "report" }
  }
}

resource "scaleway_container_trigger" "orders" {
  container_id = scaleway_container.jobs.id
  name         = "orders"

  destination_config {
    http_path   = "/orders"
    http_method = "post"
  }
  sqs {
    endpoint   = var.sqs_endpoint
    queue_url  = var.queue_url
    access_key = var.sqs_access_key
    secret_key = var.sqs_secret_key
  }
}

resource "scaleway_container_trigger" "sensors" {
  container_id = scaleway_container.jobs.id
  name         = "sensors"

  destination_config {
    http_path   = "/sensors"
    http_method = "put"
  }
  nats {
    server_urls              = [var.nats_url]
    subject                  = "sensors.>"
    credentials_file_content = var.nats_credentials
  }
}
