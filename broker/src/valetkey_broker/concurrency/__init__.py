"""What runs at the same time: single flights, back-off, changes that go on without their caller."""
