/*
 * main/notify.h - tells the service manager (systemd's protocol) how the daemon is.
 */
#ifndef VIMD_MAIN_NOTIFY_H
#define VIMD_MAIN_NOTIFY_H

/* Sends STATE ("READY=1", "STOPPING=1") to $NOTIFY_SOCKET; no effect without one. */
void notify_state(const char *state);

/* "RELOADING=1" with the time that Type=notify-reload wants. */
void notify_reloading(void);

#endif
