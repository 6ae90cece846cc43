"""Description: the OpenAPI document and its page."""
