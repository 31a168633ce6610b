"""The bus as its consumers know it: records, messages, columns, and a consumer. Imports nothing of the function."""
