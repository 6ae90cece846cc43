"""Onboarding: a backbone from elsewhere, read, checked and added to the zoo."""
