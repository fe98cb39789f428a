"""What the roles share (`common`) and what the standards say (`protocols`)."""
