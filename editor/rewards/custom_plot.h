// QCustomPlot in a program that keeps Qt's keywords out: its header uses them.
#pragma once
#include <QObject>

#define signals Q_SIGNALS
#define foreach Q_FOREACH
#include <qcustomplot.h>
#undef foreach
#undef signals
