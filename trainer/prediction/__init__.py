"""Classifying pictures by the thousand with a registered model.

naming.py     the pictures that words name: files, folders, patterns, objects in a bucket
reading.py    their pixels, read and decoded in threads
batching.py   batches of one size, with a bound on what is held
answering.py  the model's answers, in the order of the pictures
writing.py    answers as table, JSON, JSON lines or CSV
"""
