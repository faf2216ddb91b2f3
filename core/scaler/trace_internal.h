/* What reading and writing traces have in common. */
#ifndef SCALER_TRACE_INTERNAL_H
#define SCALER_TRACE_INTERNAL_H

#define LINE_MAX_BYTES 1024
#define HEADING "t_ms,scope,name,metric,value"

#endif
