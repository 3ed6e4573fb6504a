// The words for the API's states, origins, reasons and sources. A test compares the keys with
// the values in the OpenAPI document.

export const statuses = {
  creating: "creating",
  ready: "ready",
  updating: "updating",
  deleting: "deleting",
  error: "error",
  unknown_status: "unknown",
  locking: "locking",
  locked: "locked",
  upgrading: "upgrading",
};

export const states = {
  queued: "queued",
  running: "running",
  retrying: "retrying",
  succeeded: "succeeded",
  failed: "failed",
};

export const origins = {
  schedule: "by the schedule",
  message: "by a message",
  manual: "by hand",
  catch_up: "caught up after a pause",
};

export const reasons = {
  "": "",
  http_status: "The container answered with an error.",
  timeout: "The container did not answer in time.",
  connection: "No connection to the container could be made.",
  tls: "The container's certificate was not accepted.",
  address_refused: "The container's address is not allowed.",
  not_started: "AWS gave up before a call was made.",
};

export const sources = {
  cron: "schedule",
  sqs: "queue",
  nats: "subject",
};
