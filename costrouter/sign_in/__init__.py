"""How people sign in: allauth, with our rules about who may sign up, mails, secrets and operators."""
