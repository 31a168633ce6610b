"""The meaning of the running function's state: is it healthy, and which alarms stand. Pure: values in, values out."""
