variable "api_url" {
  description = "The service: the stack's output ApiUrl."
  type        = string
}

variable "region" {
  description = "A region that the deployment serves."
  type        = string
  default     = "fr-par"
}

variable "container_url" {
  description = "Where the container runs."
  type        = string
}

variable "invoke_token" {
  description = "What the container expects in X-Auth-Token."
  type        = string
  sensitive   = true
}

variable "sqs_endpoint" {
  description = "SQS, such as https://sqs.eu-west-3.amazonaws.com."
  type        = string
}

variable "queue_url" {
  description = "A queue that no other trigger reads."
  type        = string
}

variable "sqs_access_key" {
  description = "The access key of a user who may read and delete the queue's messages."
  type        = string
  sensitive   = true
}

variable "sqs_secret_key" {
  description = "The secret key of the same user."
  type        = string
  sensitive   = true
}

variable "nats_url" {
  description = "A NATS server, such as nats://nats.example.com:4222."
  type        = string
}

variable "nats_credentials" {
  description = "The content of a NATS credentials file. Empty for a server without authentication."
  type        = string
  sensitive   = true
  default     = ""
}
