"""The index page: every run of one state folder on one page, and who has been champion."""
