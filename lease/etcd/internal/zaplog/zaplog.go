// Package zaplog lets etcd's client and server, which log through zap, log through an slog.Logger.
package zaplog

import (
	"context"
	"log/slog"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// New returns a zap logger that writes everything to log at debug level: what etcd calls an error is an event of its
// own, of which the caller learns by a returned error. A nil log discards.
func New(log *slog.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return zap.New(core{log: log, least: zapcore.DebugLevel, as: slog.LevelDebug})
}

// Warnings returns a zap logger that writes warnings to log as what they are, each message once a minute at most. It is
// for what etcd tells nobody else. A nil log discards.
func Warnings(log *slog.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	all := core{log: log, least: zapcore.WarnLevel, as: slog.LevelWarn}
	return zap.New(zapcore.NewSamplerWithOptions(all, time.Minute, 1, 0))
}

type core struct {
	log   *slog.Logger
	least zapcore.Level // of etcd's, that is written
	as    slog.Level    // of ours, as which it is
}

// Enabled keeps etcd from building entries that nobody reads.
func (c core) Enabled(level zapcore.Level) bool {
	return level >= c.least && c.log.Enabled(context.TODO(), c.as) //nolint:forbidigo // zap passes no context
}

func (c core) With(fields []zapcore.Field) zapcore.Core {
	c.log = slog.New(c.log.Handler().WithAttrs(attrs(fields)))
	return c
}

func (c core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	given := append(attrs(fields), slog.String("etcd_message", e.Message), slog.String("etcd_level", e.Level.String()))
	c.log.LogAttrs(context.TODO(), c.as, "etcd", given...) //nolint:forbidigo // zap passes no context
	return nil
}

func (c core) Sync() error { return nil }

// attrs gives zap's fields the form of slog's.
func attrs(fields []zapcore.Field) []slog.Attr {
	encoded := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoded)
	}
	list := make([]slog.Attr, 0, len(encoded.Fields))
	for key, value := range encoded.Fields {
		list = append(list, slog.Any(key, value))
	}
	return list
}
