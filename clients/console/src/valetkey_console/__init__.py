"""The console of Valet Key: pages in the browser, of a process that may do nothing itself.

Whatever a page shows or does is asked of the broker as the person who is logged in.
"""
