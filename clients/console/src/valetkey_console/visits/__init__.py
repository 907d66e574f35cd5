"""What a page has to work with: who visits, the broker as that person, and how an answer is made."""
