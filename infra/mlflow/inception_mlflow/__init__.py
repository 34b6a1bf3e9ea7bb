"""What a team does with its MLflow server: start it, migrate, sign users in, back up, restore.

Its own program in the image `inception-mlflow`, beside MLflow and without the rest of the project:

    inception-mlflow serve · migrate · ready · client · users … · backup · verify · restore
"""
